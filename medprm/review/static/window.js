// Grey codes to screen: the window of DICOM PS3.3 C.11.2 as a table of 65,536 RGBA words; code 65535 is always black.

export const OUTSIDE = 65535;

export function share(value, window) {
  const { center, width } = window;
  if (window.function === "SIGMOID") return 1 / (1 + Math.exp((-4 * (value - center)) / width));
  if (window.function === "LINEAR_EXACT") return (value - center) / width + 0.5;
  if (width <= 1) return value > center - 0.5 ? 1 : 0;
  return (value - (center - 0.5)) / (width - 1) + 0.5;
}

// `isOwn`: the file's window as it is; its table is used where it has one.
export function fillTable(table, frame, window, isOwn, isInverted) {
  const invert = frame.is_inverted !== isInverted;
  for (let code = 0; code < OUTSIDE; code += 1) {
    let grey;
    if (isOwn && frame.lut) grey = frame.lut[code];
    else {
      const found = share(code * frame.slope + frame.intercept, window);
      grey = found <= 0 ? 0 : found >= 1 ? 255 : Math.round(found * 255);
    }
    if (invert) grey = 255 - grey;
    table[code] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  table[OUTSIDE] = 0xff000000;
}
