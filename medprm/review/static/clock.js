// Time spent on each step: stands still while nobody touches the page, and while it is hidden.

export class StepClock {
  constructor() {
    this.idleSeconds = 60;
    this.spent = new Map();
    this.step = null;
    this.counted = performance.now(); // until when time is counted
    this.touched = this.counted;
    this.isPaused = false;
  }

  count() {
    const now = performance.now();
    const until = Math.min(now, this.touched + 1000 * this.idleSeconds);
    if (this.step !== null && !this.isPaused && until > this.counted) {
      this.spent.set(this.step, (this.spent.get(this.step) ?? 0) + until - this.counted);
    }
    this.counted = now;
  }

  touch() {
    this.count();
    this.isPaused = false;
    this.touched = performance.now();
  }

  pause() {
    this.count();
    this.isPaused = true;
  }

  turnTo(step) {
    this.count();
    this.step = step;
  }

  stop() {
    this.count();
    this.step = null;
  }

  // Seconds since this was asked last of the step.
  take(step) {
    this.count();
    const seconds = Math.min(3600, (this.spent.get(step) ?? 0) / 1000);
    this.spent.delete(step);
    return Math.round(seconds * 100) / 100;
  }

  // What `take` gave and nobody received.
  giveBack(step, seconds) {
    this.spent.set(step, (this.spent.get(step) ?? 0) + 1000 * seconds);
  }

  clear() {
    this.step = null;
    this.spent.clear();
  }
}
