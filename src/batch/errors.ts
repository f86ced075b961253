/** Why a run cannot begin or go on; the message is a sentence for whoever started it. */
export class RunError extends Error {
  override readonly name = 'RunError';
}
