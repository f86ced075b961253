import type { RequestHandler } from 'express';
import { ServiceError } from '../errors';
import type { InferenceService } from '../inference/service';
import { refuseWhenClosing } from './inference-route';
import type { ServedModels } from '../vision-language/facts';
import { findModel } from './model';

/** The process answers, whatever inference is doing. */
export const live: RequestHandler = (_request, response) => {
  response.json({ status: 'live' });
};

/** The same in the words of KServe's Open Inference Protocol. */
export const kserveLive: RequestHandler = (_request, response) => {
  response.json({ live: true });
};

/** Requests are welcome: inference is up, and nothing is ending. */
export function ready(service: InferenceService, closing: AbortSignal): RequestHandler {
  return (_request, response) => {
    refuseUnlessReady(service, closing);
    response.json({ status: 'ready' });
  };
}

export function kserveReady(service: InferenceService, closing: AbortSignal): RequestHandler {
  return (_request, response) => {
    refuseUnlessReady(service, closing);
    response.json({ ready: true });
  };
}

/** One model is ready when inference is: every process holds every bundle. */
export function kserveModelReady(
  service: InferenceService,
  closing: AbortSignal,
  models: () => ServedModels,
): RequestHandler {
  return ({ params: { name, version } }, response) => {
    const model = findModel(models(), [name, version].filter(Boolean).join('@'));
    refuseUnlessReady(service, closing);
    response.json({ name: model.name, ready: true });
  };
}

function refuseUnlessReady(service: InferenceService, closing: AbortSignal): void {
  refuseWhenClosing(closing);
  if (service.state !== 'ready') {
    throw new ServiceError('not_ready', `Inference is ${service.state}.`, { retryAfterSeconds: 1 });
  }
}
