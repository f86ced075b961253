import type { IncomingHttpHeaders } from 'node:http';
import type { Priority } from '../inference/service';
import type { ApiDocument } from './openapi';
import { violation } from './violation';

/** How a request wants to be treated, said in its headers: it is known before the body is read. */
export interface Treatment {
  readonly priority: Priority;
  /** From when its body is here to its answer. */
  readonly timeoutMs: number;
}

/**
 * @param timeoutMs of a request that names none
 * @throws ServiceError `invalid_request`, `limit_exceeded`
 */
export function readTreatment(document: ApiDocument, headers: IncomingHttpHeaders, timeoutMs: number): Treatment {
  const names = document.fieldsOf('RequestHeaders');
  const given = Object.fromEntries(
    names.flatMap((name) => {
      const value = headers[name.toLowerCase()];
      return value === undefined ? [] : [[name, value]];
    }),
  );
  const error = document.check('RequestHeaders', given);
  if (error !== undefined) {
    throw violation(error);
  }
  const wishes = given as { readonly 'X-Priority'?: Priority; readonly 'X-Request-Timeout-Ms'?: number };
  return {
    priority: wishes['X-Priority'] ?? 'interactive',
    timeoutMs: wishes['X-Request-Timeout-Ms'] ?? timeoutMs,
  };
}

/** Whether a client sends its body only when it is told to; the value's case does not count (RFC 9110, 10.1.1). */
export function waitsToBeAsked({ expect }: IncomingHttpHeaders): boolean {
  return expect?.toLowerCase() === '100-continue';
}
