import express, { type Express } from 'express';
import { type ApiKeys, requireKey } from './api-keys';
import { modelId, type ServedModels } from '../vision-language/facts';
import { observation, type Observers } from './observation';
import { methodNotAllowed, notFound, problemHandler } from './problem';
import { requestContext } from './request-context';

export interface AdminOptions extends Observers {
  readonly keys: ApiKeys;
  /**
   * Reads bundles and keys again.
   * @throws ServiceError `keys_refused`, `bundle_refused`
   */
  readonly reload: () => Promise<ServedModels>;
}

/** What the operator may do, on a port of its own and with a key. */
export function createAdminApp({ keys, reload, ...observers }: AdminOptions): Express {
  const app = express();
  app.disable('x-powered-by').disable('etag');
  app.use(requestContext, observation(observers), requireKey(keys));
  app
    .route('/admin/reload')
    .post(async (_request, response) => {
      const models = await reload();
      response.json({ models: models.map(modelId) });
    })
    .all(methodNotAllowed('POST'));
  app.route('/metrics').get(observers.metrics.handler).all(methodNotAllowed('GET'));
  app.use(notFound, problemHandler(observers.logger));
  return app;
}
