/**
 * The one table of errors. A code is stable: clients may branch on it. The status is used at the HTTP border only.
 * A test proves that this table and openapi.yaml agree in both directions.
 */
export const ERRORS = {
  invalid_request: { status: 400, title: 'The request is malformed' },
  invalid_json: { status: 400, title: 'The body is not valid JSON' },
  unknown_field: { status: 400, title: 'The request has a field that does not exist' },
  missing_image: { status: 400, title: 'The request has no image' },
  missing_question: { status: 400, title: 'The request has no question' },
  limit_exceeded: { status: 400, title: 'A value is beyond its limit' },
  image_url_refused: { status: 400, title: 'The URL of the image is not allowed' },
  unauthorized: { status: 401, title: 'The request has no key that is known' },
  not_found: { status: 404, title: 'There is nothing at this path' },
  model_not_found: { status: 404, title: 'There is no such model' },
  method_not_allowed: { status: 405, title: 'This path does not take this method' },
  body_too_slow: { status: 408, title: 'The body arrives too slowly' },
  body_too_large: { status: 413, title: 'The body is too large' },
  image_too_large: { status: 413, title: 'The image is too large' },
  unsupported_media_type: { status: 415, title: 'The content type is not accepted' },
  unsupported_image_format: { status: 415, title: 'The image format is not accepted' },
  bundle_refused: { status: 422, title: 'The bundles cannot be served' },
  keys_refused: { status: 422, title: 'The keys cannot be used' },
  image_unavailable: { status: 422, title: 'The image cannot be fetched' },
  undecodable_image: { status: 422, title: 'The image cannot be decoded' },
  rate_limited: { status: 429, title: 'The client makes too many requests' },
  internal_error: { status: 500, title: 'The server failed' },
  not_ready: { status: 503, title: 'The server is not ready' },
  overloaded: { status: 503, title: 'The server is at capacity' },
  inference_crashed: { status: 503, title: 'The inference process died twice on this photo' },
  shutting_down: { status: 503, title: 'The server is shutting down' },
  deadline_exceeded: { status: 504, title: 'The answer took longer than the deadline' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** An error that a caller is told of: `detail` is a sentence for people and holds nothing internal. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError';

  constructor(
    readonly code: ErrorCode,
    readonly detail: string,
    options: { cause?: unknown; retryAfterSeconds?: number } = {},
  ) {
    super(`${code}: ${detail}`, { cause: options.cause });
    this.retryAfterSeconds = options.retryAfterSeconds;
  }

  /** Whole seconds for the Retry-After header of a 503. */
  readonly retryAfterSeconds: number | undefined;
}

/** What was thrown, in words. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
