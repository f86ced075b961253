import type { RequestHandler } from 'express';
import { rateLimit } from 'express-rate-limit';
import { ServiceError } from '../errors';

const MINUTE_MS = 60_000;

/** Refuses a client address (of IPv6 a /56 network) more than `perMinute` requests in a minute, 0 refuses none. */
export function limitRate(perMinute: number): RequestHandler[] {
  if (perMinute === 0) {
    return [];
  }
  const limiter = rateLimit({
    windowMs: MINUTE_MS,
    limit: perMinute,
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    // The limiter has set Retry-After already.
    handler: (_request, _response, next) => {
      next(new ServiceError('rate_limited', `A client may make ${perMinute} requests a minute here.`));
    },
  });
  return [limiter];
}
