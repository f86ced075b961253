/** What a compressed photo may be; more is refused before it is decoded. */
export const IMAGE_LIMITS = {
  maxBytes: 20_000_000,
  /** Of the size that its header claims. */
  maxPixels: 50_000_000,
} as const;
