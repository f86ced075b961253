import express, { type Express } from 'express';
import helmet from 'helmet';
import swaggerUi from 'swagger-ui-express';
import type { Logger } from '../logger';
import { live, ready } from './health';
import { CAPTION, type InferenceContext, inferenceRoute, VQA } from './inference-route';
import { Metrics } from './metrics';
import { describeModel } from './model';
import { observation } from './observation';
import { methodNotAllowed, notFound, problemHandler } from './problem';
import { limitRate } from './rate-limit';
import { requestContext } from './request-context';
import { responseCheck } from './response-check';

export type AppOptions = InferenceContext & {
  /** Requests for inference that a client address may make in a minute; 0 sets no limit. */
  readonly rateLimit: number;
  /** Reverse proxies in front, whose X-Forwarded-For is believed. */
  readonly trustedProxies: number;
  readonly logger: Logger;
  readonly validateResponses: boolean;
};

/** The whole HTTP side over an inference service. */
export function createApp(options: AppOptions): Express {
  const { service, admission, models, document, logger, closing } = options;
  const metrics = new Metrics(service, admission);
  const app = express();
  app.disable('x-powered-by').disable('etag').set('trust proxy', options.trustedProxies);

  app.use(requestContext, observation(metrics, logger));
  app.use(
    helmet({
      // The server itself speaks plain HTTP: these two would make browsers load the page's files by HTTPS.
      contentSecurityPolicy: { directives: { upgradeInsecureRequests: null } },
      strictTransportSecurity: false,
    }),
  );
  if (options.validateResponses) {
    app.use(responseCheck(document));
  }

  const limited = limitRate(options.rateLimit);
  app.route('/caption').post(limited, inferenceRoute(options, CAPTION)).all(methodNotAllowed('POST'));
  app.route('/vqa').post(limited, inferenceRoute(options, VQA)).all(methodNotAllowed('POST'));

  const get = (path: string, ...handlers: express.RequestHandler[]): void => {
    app
      .route(path)
      .get(...handlers)
      .all(methodNotAllowed('GET'));
  };
  get('/models', (_request, response) => void response.json({ models: models.map(describeModel) }));
  get('/health/live', live);
  get('/health/ready', ready(service, closing));
  get('/metrics', metrics.handler);
  get('/openapi.yaml', (_request, response) => void response.type('application/yaml').send(document.text));
  app.use('/docs', swaggerUi.serve);
  get('/docs', swaggerUi.setup(undefined, { swaggerUrl: '../openapi.yaml', swaggerOptions: { validatorUrl: null } }));

  app.use(notFound, problemHandler(logger));
  return app;
}
