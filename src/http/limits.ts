import { IMAGE_LIMITS } from '../vision-language/facts';

/** Limits of a body; the ranges of options stand in openapi.yaml alone. */
export const LIMITS = {
  /** As in openapi.yaml, and needed before a form has been read; so is the number of questions. */
  images: 16,
  questions: 16,
  /** The decoder's own limit, held here too so that a larger photo is not kept. */
  imageBytes: IMAGE_LIMITS.maxBytes,
  /** Sixteen photos of 4 MB, which is what phones make. */
  formBytes: 64_000_000,
  /** JSON is parsed in one go on the event loop: 12 MB, a photo of 9 MB in base64, block it for about 0.1 s. */
  jsonBytes: 12_000_000,
  /** The questions and every option, with room for a few too many, which the schema then counts. */
  textFields: 32,
  /** More than any field may hold, so that the schema can say by how much it is too long. */
  textBytes: 4_000,
  /** More than any field's name has. */
  fieldNameBytes: 100,
} as const;
