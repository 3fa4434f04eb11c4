// The part of a frame that the viewport shows, at the viewport's size. Shrunk by averaging, enlarged bilinearly.
// Windows are applied afterwards, so that a drag of the window touches the viewport's pixels alone.

import { OUTSIDE } from "./window.js";

// place: image coordinates of the viewport's corner, and image pixels per viewport pixel.
export function resampleGrey(out, width, height, frame, place, isQuick) {
  const { data } = frame;
  const columns = columnRanges(width, place.x, place.step, frame.width);
  for (let row = 0; row < height; row += 1) {
    const top = place.y + row * place.step;
    const base = row * width;
    if (top + place.step <= 0 || top >= frame.height) {
      out.fill(OUTSIDE, base, base + width);
      continue;
    }
    if (place.step > 1 && !isQuick) averageRow(out, base, width, data, frame, columns, top, place.step);
    else if (place.step < 1 && !isQuick) bilinearRow(out, base, width, data, frame, place, top);
    else {
      const y = Math.min(frame.height - 1, Math.max(0, Math.floor(top + place.step / 2)));
      for (let column = 0; column < width; column += 1) {
        const x = columns.middle[column];
        out[base + column] = x < 0 ? OUTSIDE : data[y * frame.width + x];
      }
    }
  }
}

export function resampleColour(out, width, height, frame, place) {
  const { data } = frame;
  const columns = columnRanges(width, place.x, place.step, frame.width);
  for (let row = 0; row < height; row += 1) {
    const y = Math.floor(place.y + (row + 0.5) * place.step);
    for (let column = 0; column < width; column += 1) {
      const x = columns.middle[column];
      const target = 3 * (row * width + column);
      if (x < 0 || y < 0 || y >= frame.height) out.fill(0, target, target + 3);
      else {
        const source = 3 * (y * frame.width + x);
        out[target] = data[source];
        out[target + 1] = data[source + 1];
        out[target + 2] = data[source + 2];
      }
    }
  }
}

function columnRanges(width, left, step, frameWidth) {
  const first = new Int32Array(width);
  const end = new Int32Array(width);
  const middle = new Int32Array(width);
  for (let column = 0; column < width; column += 1) {
    const x = left + column * step;
    const centre = Math.floor(x + step / 2);
    middle[column] = centre < 0 || centre >= frameWidth ? -1 : centre;
    first[column] = Math.max(0, Math.floor(x));
    end[column] = Math.min(frameWidth, Math.max(Math.floor(x) + 1, Math.floor(x + step)));
  }
  return { first, end, middle };
}

function averageRow(out, base, width, data, frame, columns, top, step) {
  const firstRow = Math.max(0, Math.floor(top));
  const endRow = Math.min(frame.height, Math.max(Math.floor(top) + 1, Math.floor(top + step)));
  for (let column = 0; column < width; column += 1) {
    if (columns.middle[column] < 0) {
      out[base + column] = OUTSIDE;
      continue;
    }
    let sum = 0;
    let count = 0;
    for (let y = firstRow; y < endRow; y += 1) {
      const line = y * frame.width;
      for (let x = columns.first[column]; x < columns.end[column]; x += 1) {
        const code = data[line + x];
        if (code !== OUTSIDE) {
          sum += code;
          count += 1;
        }
      }
    }
    out[base + column] = count ? sum / count + 0.5 : OUTSIDE;
  }
}

function bilinearRow(out, base, width, data, frame, place, top) {
  const y = top + place.step / 2 - 0.5;
  const y0 = Math.max(0, Math.min(frame.height - 1, Math.floor(y)));
  const y1 = Math.min(frame.height - 1, y0 + 1);
  const v = Math.max(0, Math.min(1, y - y0));
  for (let column = 0; column < width; column += 1) {
    const x = place.x + (column + 0.5) * place.step - 0.5;
    if (x < -0.5 || x >= frame.width - 0.5) {
      out[base + column] = OUTSIDE;
      continue;
    }
    const x0 = Math.max(0, Math.floor(x));
    const x1 = Math.min(frame.width - 1, x0 + 1);
    const u = Math.max(0, x - x0);
    const corners = [data[y0 * frame.width + x0], data[y0 * frame.width + x1], data[y1 * frame.width + x0], data[y1 * frame.width + x1]];
    if (corners.includes(OUTSIDE)) out[base + column] = corners[(v > 0.5 ? 2 : 0) + (u > 0.5 ? 1 : 0)];
    else out[base + column] = (corners[0] * (1 - u) + corners[1] * u) * (1 - v) + (corners[2] * (1 - u) + corners[3] * u) * v + 0.5;
  }
}
