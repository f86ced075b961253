/** Results as the predictor gives them; the HTTP and JSON-lines borders turn the names into snake_case. */

export interface DecodingOptions {
  /** Beams of the search, 1-8. */
  readonly numBeams: number;
  /** Captions returned, 1 to `numBeams`. */
  readonly numCaptions: number;
  /** Words of a caption in WordPieces, 1-20. */
  readonly maxTokens: number;
  /** Answers returned for a question, 1-20. */
  readonly topK: number;
  /** Adds the regions of the photo to the result. */
  readonly regions: boolean;
  /** Adds the weights of the regions that each word or answer rests on. */
  readonly explain: boolean;
}

export interface Region {
  /** x1, y1, x2, y2 in pixels of the upright photo. */
  readonly box: readonly [number, number, number, number];
  readonly label: string;
  readonly attribute?: string;
  readonly score: number;
}

export interface Caption {
  readonly caption: string;
  /** Confidence in 0-1; the manifest says what it means. */
  readonly score: number;
  /** Sum over the tokens of the sentence and its end. */
  readonly logProbability: number;
  /**
   * With `explain`: for each token its text and how much of its attention rests on each entry of the photo's regions.
   * The rest, to a sum of 1, is on cells of the grid, which have no label.
   */
  readonly words?: readonly { readonly word: string; readonly weights: readonly number[] }[];
}

export interface Answer {
  readonly answer: string;
  readonly score: number;
}

export interface PhotoFacts {
  /** Size of the upright photo in pixels. */
  readonly width: number;
  readonly height: number;
  /** Present with `regions` or `explain`. */
  readonly regions?: readonly Region[];
  /** Whether the photo's regions and prefix were there already; absent where they are not kept. */
  readonly cached?: boolean;
}

/** `captions` has `numCaptions` entries, best first. */
export interface CaptionResult extends PhotoFacts {
  readonly captions: readonly Caption[];
}

/** One entry for each question, in their order. */
export interface AnswerResult extends PhotoFacts {
  readonly results: readonly {
    readonly question: string;
    /** Best first, `topK` of them. */
    readonly answers: readonly Answer[];
    /** With `explain`: the same for the answer. */
    readonly weights?: readonly number[];
  }[];
}
