import { randomUUID } from 'node:crypto';
import type { RequestHandler } from 'express';
import type { ErrorCode } from '../errors';

export type Outcome = 'ok' | 'client_closed' | ErrorCode;

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace -- Express is extended by merging into its namespace
  namespace Express {
    interface Locals {
      /** Sent as X-Request-Id, and written in every log line about the request. */
      requestId: string;
      /** Of the W3C trace that the request belongs to. */
      traceId: string;
      /** Owner of the key that came with the request, where keys are asked for. */
      client?: string;
      /** How the request ended, for logs and metrics. */
      outcome: Outcome;
      /** A client that waits for `100 Continue` has been told to send its body. */
      bodyInvited: boolean;
    }
  }
}

/** Ids that a proxy may set; anything else is replaced, since it ends up in logs. */
const PLAIN_REQUEST_ID = /^[\w.-]{1,64}$/;

/** Gives each request its id: the caller's if it has a plain one. */
export const requestContext: RequestHandler = (request, response, next) => {
  const given = request.get('X-Request-Id');
  response.locals.requestId = given && PLAIN_REQUEST_ID.test(given) ? given : randomUUID();
  response.locals.outcome = 'ok';
  response.locals.bodyInvited = false;
  response.set('X-Request-Id', response.locals.requestId);
  next();
};
