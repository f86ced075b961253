import type { RequestHandler } from 'express';
import { ServiceError } from '../errors';
import type { InferenceService } from '../inference/service';
import { refuseWhenClosing } from './inference-route';

/** The process answers, whatever inference is doing. */
export const live: RequestHandler = (_request, response) => {
  response.json({ status: 'live' });
};

/** Requests are welcome: inference is up, and nothing is ending. */
export function ready(service: InferenceService, closing: AbortSignal): RequestHandler {
  return (_request, response) => {
    refuseWhenClosing(closing);
    if (service.state !== 'ready') {
      throw new ServiceError('not_ready', `Inference is ${service.state}.`, { retryAfterSeconds: 1 });
    }
    response.json({ status: 'ready' });
  };
}
