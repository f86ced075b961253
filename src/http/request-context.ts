import { randomUUID } from 'node:crypto';
import type { RequestHandler } from 'express';
import type { IncomingHttpHeaders } from 'node:http';
import type { ErrorCode } from '../errors';

export type RequestOutcome = 'ok' | 'client_closed' | ErrorCode;

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace -- Express is extended by merging into its namespace
  namespace Express {
    interface Locals {
      /** Sent as X-Request-Id, and written in every log line about the request. */
      requestId: string;
      /** Owner of the key that came with the request, where keys are asked for. */
      client?: string;
      /** How the request ended, for logs and metrics. */
      outcome: RequestOutcome;
      /** A client that waits for `100 Continue` has been told to send its body. */
      bodyInvited: boolean;
    }
  }
}

/** Ids that a proxy may set; anything else is replaced, since it ends up in logs. */
const PLAIN_REQUEST_ID = /^[\w.-]{1,64}$/;

/** The caller's id of its request, if it is a plain one, or else a new one. */
export function requestIdOf({ 'x-request-id': given }: IncomingHttpHeaders): string {
  return typeof given === 'string' && PLAIN_REQUEST_ID.test(given) ? given : randomUUID();
}

export const requestContext: RequestHandler = (request, response, next) => {
  response.locals.requestId = requestIdOf(request.headers);
  response.locals.outcome = 'ok';
  response.locals.bodyInvited = false;
  response.set('X-Request-Id', response.locals.requestId);
  next();
};
