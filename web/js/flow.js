// Estimates the movement between two grey pictures by dense inverse search (Kroeger et al., "Fast
// Optical Flow using Dense Inverse Search", ECCV 2016), as apply.py does: patches of small and then of
// larger pictures are aligned by gradient descent, and pixels take the mean of the patches around them.

const SIDE = 64; // the largest side of the pictures on which patches are aligned, in pixels
const LEVELS = 2; // each picture has half the size of the next
const PATCH = 8; // pixels
const STRIDE = 4; // pixels between the patches
const STEPS = 3; // of the descent
const PLAIN = 200; // smallest eigenvalue of a patch whose movement can be seen, in levels squared

/**
 * Estimates where each pixel of a picture was in the previous one.
 *
 * @param grey Float32Array of width x height, 0..255.
 * @param before the previous picture, of the same size.
 * @returns {x, y}, Float32Arrays in pixels: (i, j) of `grey` was at (i + x, j + y) of `before`.
 */
export function flowFrom(grey, before, width, height) {
  const finest = Math.max(1, Math.ceil(Math.max(width, height) / SIDE));
  let flow = null;
  for (let level = LEVELS - 1; level >= 0; level--) {
    const now = shrunk(grey, width, height, finest << level);
    if (Math.min(now.width, now.height) < PATCH) continue;
    const then = shrunk(before, width, height, finest << level);
    flow = aligned(now, then.data, flow && enlarged(flow, now.width, now.height));
  }
  flow ??= {x: new Float32Array(1), y: new Float32Array(1), width: 1, height: 1};
  return enlarged(flow, width, height);
}

/** Bilinear sample of a picture; outside, its border is repeated. */
export function sample(data, width, height, x, y) {
  x = x < 0 ? 0 : x > width - 1 ? width - 1 : x;
  y = y < 0 ? 0 : y > height - 1 ? height - 1 : y;
  const left = x | 0;
  const up = y | 0;
  const at = up * width + left;
  const right = left < width - 1 ? 1 : 0;
  const down = up < height - 1 ? width : 0;
  const above = data[at] + (x - left) * (data[at + right] - data[at]);
  const below = data[at + down] + (x - left) * (data[at + down + right] - data[at + down]);
  return above + (y - up) * (below - above);
}

/** The means over squares of `scale` pixels. */
function shrunk(data, width, height, scale) {
  const small = {width: Math.floor(width / scale), height: Math.floor(height / scale)};
  small.data = new Float32Array(small.width * small.height);
  for (let y = 0; y < small.height * scale; y++) {
    const row = Math.floor(y / scale) * small.width;
    for (let i = 0, at = y * width; i < small.width; i++) {
      for (let n = 0; n < scale; n++) small.data[row + i] += data[at++];
    }
  }
  for (let i = 0; i < small.data.length; i++) small.data[i] /= scale * scale;
  return small;
}

/** Enlarges a flow bilinearly, and its movements with it. */
function enlarged(flow, width, height) {
  const across = width / flow.width;
  const down = height / flow.height;
  const places = Float32Array.from({length: width}, (_, i) => inside((i + 0.5) / across - 0.5, flow.width));
  const line = new Float32Array(flow.width + 1);
  const enlarge = (values, scale) => {
    const larger = new Float32Array(width * height);
    for (let j = 0, at = 0; j < height; j++) {
      const y = inside((j + 0.5) / down - 0.5, flow.height);
      const above = Math.floor(y) * flow.width;
      const below = Math.min(Math.floor(y) + 1, flow.height - 1) * flow.width;
      for (let i = 0; i < flow.width; i++) {
        line[i] = scale * (values[above + i] + (y % 1) * (values[below + i] - values[above + i]));
      }
      line[flow.width] = line[flow.width - 1];
      for (let i = 0; i < width; i++, at++) {
        const left = places[i] | 0;
        larger[at] = line[left] + (places[i] - left) * (line[left + 1] - line[left]);
      }
    }
    return larger;
  };
  return {x: enlarge(flow.x, across), y: enlarge(flow.y, down)};
}

function inside(place, length) {
  return Math.min(Math.max(place, 0), length - 1);
}

/** Aligns the patches, and averages their movements by how well each explains a pixel. */
function aligned(now, before, start) {
  const {data, width, height} = now;
  const flow = {x: new Float32Array(data.length), y: new Float32Array(data.length), width, height};
  const weights = new Float32Array(data.length);
  for (const top of starts(height)) {
    for (const left of starts(width)) {
      const middle = (top + PATCH / 2) * width + left + PATCH / 2;
      const [u, v] = descend(now, before, left, top, start?.x[middle] ?? 0, start?.y[middle] ?? 0);
      for (let j = top; j < top + PATCH; j++) {
        for (let i = left, at = j * width + left; i < left + PATCH; i++, at++) {
          const missed = Math.abs(sample(before, width, height, i + u, j + v) - data[at]);
          const weight = 1 / Math.max(1, missed);
          flow.x[at] += weight * u;
          flow.y[at] += weight * v;
          weights[at] += weight;
        }
      }
    }
  }
  for (let i = 0; i < data.length; i++) {
    flow.x[i] /= weights[i];
    flow.y[i] /= weights[i];
  }
  return flow;
}

/** Where patches start along a side; the last one ends with the side. */
function starts(side) {
  const count = Math.ceil((side - PATCH) / STRIDE) + 1;
  return Array.from({length: count}, (_, n) => Math.min(n * STRIDE, side - PATCH));
}

/** Finds the movement of a patch by Gauss-Newton steps from (u, v), where it stays if it fails. */
function descend({data, width, height}, before, left, top, u, v) {
  const first = [u, v];
  const slopes = new Float32Array(2 * PATCH * PATCH);
  let meanX = 0;
  let meanY = 0;
  for (let j = top, n = 0; j < top + PATCH; j++) {
    for (let i = left; i < left + PATCH; i++) {
      const at = j * width + i;
      const [l, r] = [i ? at - 1 : at, i < width - 1 ? at + 1 : at];
      const [a, b] = [j ? at - width : at, j < height - 1 ? at + width : at];
      meanX += slopes[n++] = (data[r] - data[l]) / (r - l);
      meanY += slopes[n++] = (data[b] - data[a]) / ((b - a) / width);
    }
  }
  // Slopes without their means ignore a change of the exposure.
  let xx = 0;
  let yy = 0;
  let xy = 0;
  for (let n = 0; n < slopes.length; n += 2) {
    const x = (slopes[n] -= meanX / (PATCH * PATCH));
    const y = (slopes[n + 1] -= meanY / (PATCH * PATCH));
    xx += x * x;
    yy += y * y;
    xy += x * y;
  }
  if ((xx + yy) / 2 - Math.hypot((xx - yy) / 2, xy) < PLAIN) return first;
  const determinant = xx * yy - xy * xy;
  for (let step = 0; step < STEPS; step++) {
    let x = 0;
    let y = 0;
    for (let j = top, n = 0; j < top + PATCH; j++) {
      for (let i = left; i < left + PATCH; i++, n += 2) {
        const missed = sample(before, width, height, i + u, j + v) - data[j * width + i];
        x += slopes[n] * missed;
        y += slopes[n + 1] * missed;
      }
    }
    u -= (yy * x - xy * y) / determinant;
    v -= (xx * y - xy * x) / determinant;
    if (Math.hypot(u - first[0], v - first[1]) > PATCH) return first;
  }
  return [u, v];
}
