import express, { type Express } from 'express';
import type { Logger } from '../logger';
import { type ApiKeys, requireKey } from './api-keys';
import type { Metrics } from './metrics';
import { modelId, type ServedModels } from '../vision-language/facts';
import { observation } from './observation';
import { methodNotAllowed, notFound, problemHandler } from './problem';
import { requestContext } from './request-context';
import type { Tracing } from './tracing';

export interface AdminOptions {
  readonly keys: ApiKeys;
  /**
   * Reads bundles and keys again.
   * @throws ServiceError `bundle_refused`
   */
  readonly reload: () => Promise<ServedModels>;
  readonly metrics: Metrics;
  readonly tracing: Tracing;
  readonly logger: Logger;
}

/** What the operator may do, on a port of its own and with a key. */
export function createAdminApp({ keys, reload, metrics, tracing, logger }: AdminOptions): Express {
  const app = express();
  app.disable('x-powered-by').disable('etag');
  app.use(requestContext, observation(metrics, tracing, logger), requireKey(keys));
  app
    .route('/admin/reload')
    .post(async (_request, response) => {
      const models = await reload();
      response.json({ models: models.map(modelId) });
    })
    .all(methodNotAllowed('POST'));
  app.route('/metrics').get(metrics.handler).all(methodNotAllowed('GET'));
  app.use(notFound, problemHandler(logger));
  return app;
}
