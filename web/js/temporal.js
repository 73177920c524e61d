// Smooths the alphas of a camera's frames without a lag behind movement.
//
// Each alpha is mixed with the one before. A pixel keeps much of the old alpha only if the picture
// around it has not changed and the two alphas are close: flicker is small and does not move, while
// a movement changes the picture and takes the new alpha at once.

const KEEP = 0.8; // of the alpha before, where nothing has changed
const COLOUR = 14; // grey levels of change at which most of that is gone
const JUMP = 0.6; // difference of the alphas at which nothing of it is left
const RADIUS = 2; // pixels around, over which a change is averaged: noise is no movement

export class Smoother {
  /** Forgets the frames before, for a new scene. */
  reset() {
    this.before = null;
  }

  /**
   * Takes the next frame.
   *
   * @param alpha {data, width, height}: Float32Array, 0..1; it is changed in place.
   * @param bytes RGBA of the picture that the network saw, of the same size.
   * @returns `alpha`.
   */
  smooth(alpha, bytes) {
    const {data, width, height} = alpha;
    const grey = new Float32Array(width * height);
    for (let i = 0, j = 0; i < grey.length; i++, j += 4) {
      grey[i] = 0.299 * bytes[j] + 0.587 * bytes[j + 1] + 0.114 * bytes[j + 2];
    }
    const old = this.before;
    if (old && old.width === width && old.height === height) {
      const change = grey.map((value, i) => Math.abs(value - old.grey[i]));
      const around = boxMean(change, width, height, RADIUS);
      for (let i = 0; i < data.length; i++) {
        const step = old.data[i] - data[i];
        if (step === 0) continue;
        const moved = around[i] / COLOUR;
        const jumped = step / JUMP;
        const keep = KEEP * Math.exp(-moved * moved) * Math.max(0, 1 - jumped * jumped);
        data[i] += keep * step;
      }
    }
    this.before = {data: data.slice(), grey, width, height};
    return alpha;
  }
}

/** The means of squares of 2 radius + 1 pixels, in time that does not depend on `radius`. */
function boxMean(values, width, height, radius) {
  const across = new Float32Array(values.length);
  const result = new Float32Array(values.length);
  run(values, across, height, width, width, 1, radius);
  run(across, result, width, height, 1, width, radius);
  return result;
}

/** Running means along lines: `lines` of them, `between` apart, of `length` values `step` apart. */
function run(from, to, lines, length, between, step, radius) {
  const share = 1 / (2 * radius + 1);
  for (let line = 0; line < lines; line++) {
    const start = line * between;
    const at = (i) => from[start + step * Math.min(Math.max(i, 0), length - 1)];
    let sum = 0;
    for (let i = -radius; i <= radius; i++) sum += at(i);
    for (let i = 0; i < length; i++) {
      to[start + step * i] = sum * share;
      sum += at(i + radius + 1) - at(i - radius);
    }
  }
}
