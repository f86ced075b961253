import type { Request, RequestHandler, Response } from 'express';
import { ipKeyGenerator, rateLimit } from 'express-rate-limit';
import { ServiceError } from '../errors';
import { RateWindows } from './rate-window';

const MINUTE_MS = 60_000;

/** Who asks: the owner of a key, or where keys are not asked for an address (of IPv6 a /56 network). */
export function clientOf(request: Request, response: Response): string {
  const { client } = response.locals as Express.Locals;
  return client === undefined ? ipKeyGenerator(request.ip ?? '') : `key of ${client}`;
}

/** Refuses a client more than `perMinute` requests in a minute; 0 refuses none. */
export function limitRate(perMinute: number): RequestHandler[] {
  if (perMinute === 0) {
    return [];
  }
  const limiter = rateLimit({
    windowMs: MINUTE_MS,
    limit: perMinute,
    store: new RateWindows(MINUTE_MS),
    keyGenerator: clientOf,
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    // The limiter has set Retry-After already.
    handler: (_request, _response, next) => {
      next(new ServiceError('rate_limited', `A client may make ${perMinute} requests a minute here.`));
    },
  });
  return [limiter];
}
