import type { Objects } from './model';
import type { Region } from './results';

/** The words that a detection's rows stand for. */
export interface RegionWords {
  readonly labels: readonly string[];
  readonly attributes: readonly string[];
}

/** The objects of a photo, boxes in pixels of the upright photo. */
export function readRegions(
  detection: Objects,
  photo: { readonly width: number; readonly height: number },
  words: RegionWords,
): Region[] {
  return objectRows(detection).map((row) => {
    const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = detection.boxes.data.subarray(row * 4, row * 4 + 4);
    const label = words.labels[Number(detection.labels.data[row])];
    const attribute = words.attributes[Number(detection.attributes.data[row])];
    if (label === undefined) {
      throw new RangeError(`The detector gave label ${detection.labels.data[row]}, which labels.json does not have`);
    }
    return {
      box: [x1 * photo.width, y1 * photo.height, x2 * photo.width, y2 * photo.height],
      label,
      ...(attribute !== undefined && { attribute }),
      score: detection.scores.data[row] ?? 0,
    };
  });
}

/**
 * How much of the attention on a photo's regions rests on each of its objects, in the order of `readRegions`. What the
 * cells of the grid get is left out, so the weights sum to 1 at most.
 * @param attention [R], not normalised
 */
export function objectWeights(attention: Float32Array, detection: Objects): number[] {
  const total = attention.reduce((sum, weight) => sum + weight, 0);
  return objectRows(detection).map((row) => (total > 0 ? (attention[row] ?? 0) / total : 0));
}

/** Rows that are objects: real ones with a label. A cell of the grid has none. */
function objectRows({ labels, valid }: Objects): number[] {
  return [...labels.data.keys()].filter((row) => valid.data[row] === 1 && Number(labels.data[row]) >= 0);
}
