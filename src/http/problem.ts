import type { ErrorRequestHandler, Request, RequestHandler, Response } from 'express';
import { type ErrorCode, ERRORS, ServiceError } from '../errors';
import type { Logger } from '../logger';
import { discardBody } from './discard-body';

export const PROBLEM_TYPE = 'application/problem+json';

/** RFC 9457 problem details, with the table's stable code. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail: string;
  readonly request_id?: string;
}

export function toProblem({ code, detail }: Pick<ServiceError, 'code' | 'detail'>): Problem {
  const { title, status } = ERRORS[code];
  return { type: `urn:distillvlm:problem:${code}`, title, status, code, detail };
}

export const notFound: RequestHandler = () => {
  throw new ServiceError('not_found', 'There is nothing at this path; GET /docs shows what there is.');
};

/** For a path that exists with other methods. */
export function methodNotAllowed(...allowed: readonly string[]): RequestHandler {
  return (_request, response) => {
    response.set('Allow', allowed.join(', '));
    throw new ServiceError('method_not_allowed', `This path takes ${allowed.join(' and ')} only.`);
  };
}

/** The one way in which errors leave the server. */
export function problemHandler(logger: Logger): ErrorRequestHandler {
  return async (error: unknown, request: Request, response: Response, next) => {
    if (response.closed) {
      return;
    }
    if (response.headersSent) {
      next(error);
      return;
    }
    const known = toServiceError(error);
    if (known.code === 'internal_error') {
      logger.error({ event: 'request_failed', requestId: response.locals.requestId, err: error });
    }
    const { bodyInvited } = response.locals;
    await discardBody(request, response, { status: ERRORS[known.code].status, bodyInvited });
    sendProblem(response, known);
  };
}

function sendProblem(response: Response, error: ServiceError): void {
  if (error.retryAfterSeconds !== undefined) {
    response.set('Retry-After', String(error.retryAfterSeconds));
  }
  const problem: Problem = { ...toProblem(error), request_id: response.locals.requestId };
  response.locals.outcome = error.code;
  response.status(problem.status).type(PROBLEM_TYPE).json(problem);
}

function toServiceError(error: unknown): ServiceError {
  if (error instanceof ServiceError) {
    return error;
  }
  if (error instanceof URIError) {
    return new ServiceError('not_found', 'The path is not percent-encoded as a path is.', { cause: error });
  }
  if (isOfRequest(error)) {
    return new ServiceError('invalid_request', 'The request cannot be understood.', { cause: error });
  }
  return new ServiceError('internal_error', 'The server failed; the request id finds the reason in its log.', {
    cause: error,
  });
}

/** Express and what it brings say by a status that it is the request that is wrong. */
function isOfRequest(error: unknown): boolean {
  const status = error instanceof Error && 'status' in error ? Number(error.status) : NaN;
  return status >= 400 && status < 500;
}
