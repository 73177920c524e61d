// Smooths the alphas of a camera's frames without a lag behind movement, like
// portrait/effects/smoothing.py, with the same weights.
//
// Each alpha is mixed with the previous one, which optical flow moves along. For each pixel, the weight
// of the previous alpha depends on how well the flow explains the new picture, on the movement, and on
// the difference of the two alphas: differences from flicker are small, those from movement are large.
import {flowFrom, sample} from './flow.js';

const KEEP_STILL = 0.85; // weights of the previous alpha if pictures and alphas agree
const KEEP_MOVING = 0.5; // smaller, because flow is not exact
const STILL = 0.3; // scale of movement between the two weights, in pixels for each frame
const COLOUR = 12; // scale of the flow's error, in grey levels
const JUMP = 1.2; // difference of the alphas at which the weight is 0
const RADIUS = 2; // pixels over which the flow's error is averaged, to suppress noise

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
    const grey = new Float32Array(data.length);
    for (let i = 0, j = 0; i < grey.length; i++, j += 4) {
      grey[i] = 0.299 * bytes[j] + 0.587 * bytes[j + 1] + 0.114 * bytes[j + 2];
    }
    const old = this.before;
    if (old && old.width === width && old.height === height) mix(data, grey, old);
    this.before = {data: data.slice(), grey, width, height};
    return alpha;
  }
}

/** Mixes the previous frame's alpha into `data`. */
function mix(data, grey, {data: dataBefore, grey: greyBefore, width, height}) {
  const {x, y} = flowFrom(grey, greyBefore, width, height);
  const carried = new Float32Array(data.length);
  const missed = new Float32Array(data.length);
  for (let j = 0, at = 0; j < height; j++) {
    for (let i = 0; i < width; i++, at++) {
      const [left, up] = [i + x[at], j + y[at]];
      const inside = left >= 0 && up >= 0 && left <= width - 1 && up <= height - 1;
      carried[at] = inside ? sample(dataBefore, width, height, left, up) : data[at];
      missed[at] = inside ? Math.abs(sample(greyBefore, width, height, left, up) - grey[at]) : 255;
    }
  }
  boxMean(missed, width, height, RADIUS);
  for (let i = 0; i < data.length; i++) {
    const step = carried[i] - data[i];
    const error = missed[i] / COLOUR;
    const jump = step / JUMP;
    if (error > 3 || Math.abs(jump) > 1) continue;
    const still = Math.exp(-(x[i] * x[i] + y[i] * y[i]) / (STILL * STILL));
    const keep = KEEP_MOVING + (KEEP_STILL - KEEP_MOVING) * still;
    data[i] += keep * Math.exp(-error * error) * (1 - jump * jump) * step;
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
