// Smooths the alphas of a camera's frames without a lag behind movement.
//
// Each alpha is mixed with the previous one. A pixel keeps much of the previous alpha only if the
// picture around it has not changed and the two alphas are close. Flicker is small and does not change
// the picture, so it is removed. A movement changes the picture, so it takes the new alpha at once.

const KEEP = 0.8; // weight of the previous alpha if nothing has changed
const COLOUR = 14; // change in grey levels at which this weight has mostly vanished
const JUMP = 0.6; // difference of the alphas at which the weight is 0
const LEAST = 0.002; // smaller differences are invisible
const RADIUS = 2; // pixels over which changes are averaged, to suppress noise

export class Smoother {
  /** Forgets the previous frames, for a new scene. */
  reset() {
    this.before = null;
  }

  /**
   * Smooths the alpha of the next frame.
   *
   * @param alpha {data, width, height}: Float32Array, 0..1; it is changed in place.
   * @param bytes RGBA of the picture that the network saw, of the same size.
   * @returns `alpha`.
   */
  smooth(alpha, bytes) {
    const {data, width, height} = alpha;
    const old = this.before;
    const grey = old?.spare?.length === data.length ? old.spare : new Float32Array(data.length);
    for (let i = 0, j = 0; i < grey.length; i++, j += 4) {
      grey[i] = 0.299 * bytes[j] + 0.587 * bytes[j + 1] + 0.114 * bytes[j + 2];
    }
    if (old && old.width === width && old.height === height) {
      const {grey: greyBefore, data: dataBefore} = old;
      for (let i = 0; i < data.length; i++) greyBefore[i] = Math.abs(grey[i] - greyBefore[i]);
      boxMean(greyBefore, width, height, RADIUS);
      for (let i = 0; i < data.length; i++) {
        const step = dataBefore[i] - data[i];
        if (step < LEAST && step > -LEAST) continue;
        const moved = greyBefore[i] / COLOUR;
        const jumped = step / JUMP;
        if (moved > 3 || jumped > 1 || jumped < -1) continue;
        data[i] += KEEP * Math.exp(-moved * moved) * (1 - jumped * jumped) * step;
      }
    }
    this.before = {data: data.slice(), grey, width, height, spare: old?.grey};
    return alpha;
  }
}

/** Replaces values by the means over squares of 2 radius + 1 pixels, cropped at the borders. */
function boxMean(values, width, height, radius) {
  const line = new Float32Array(Math.max(width, height));
  for (let y = 0; y < height; y++) mean(values, line, y * width, width, 1, radius);
  for (let x = 0; x < width; x++) mean(values, line, x, height, width, radius);
}

/** Computes running means along a line of `length` values that are `step` apart. */
function mean(values, line, start, length, step, radius) {
  let sum = 0;
  let count = 0;
  for (let i = 0, at = start; i < length; i++, at += step) line[i] = values[at];
  for (let i = 0; i < Math.min(radius, length); i++, count++) sum += line[i];
  for (let i = 0, at = start; i < length; i++, at += step) {
    if (i + radius < length) {
      sum += line[i + radius];
      count++;
    }
    if (i > radius) {
      sum -= line[i - radius - 1];
      count--;
    }
    values[at] = sum / count;
  }
}
