import { ServiceError } from '../errors';

/** Why a run cannot begin or go on; the message is a sentence for whoever started it. */
export class RunError extends Error {
  override readonly name = 'RunError';
}

/** Before it is read. */
export function fileTooLarge(bytes: number, maxBytes: number): ServiceError {
  return new ServiceError('image_too_large', `The file has ${bytes} bytes; ${maxBytes} are the limit.`);
}
