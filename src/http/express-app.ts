import cors from 'cors';
import express, { type Express } from 'express';
import swaggerUi from 'swagger-ui-express';
import type { Devices } from '../inference/devices';
import type { PrecisionWish } from '../vision-language/facts';
import { requireKey } from './api-keys';
import { kserveLive, kserveModelReady, kserveReady, live, ready } from './health';
import { CAPTION, type InferenceContext, inferenceRoute, VQA } from './inference-route';
import { describeModel } from './model';
import { observation, type Observers } from './observation';
import { methodNotAllowed, notFound, problemHandler } from './problem';
import { limitRate } from './rate-limit';
import { requestContext } from './request-context';
import { responseCheck } from './response-check';
import { SECURITY_HEADERS } from './security-headers';

export type AppOptions = InferenceContext &
  Observers & {
    readonly devices: Devices;
    readonly precision: PrecisionWish;
    /** Whether `GET /metrics` is among the routes here. */
    readonly openMetrics: boolean;
    /** Origins whose pages may read the answers. */
    readonly corsOrigins: readonly string[];
    /** Reverse proxies in front, whose X-Forwarded-For is believed. */
    readonly trustedProxies: number;
    readonly validateResponses: boolean;
  };

/** The whole HTTP side over an inference service. */
export function createApp(options: AppOptions): Express {
  const { service, models, document, metrics, logger, closing } = options;
  const app = express();
  app.disable('x-powered-by').disable('etag').set('trust proxy', options.trustedProxies);

  app.use(requestContext, observation(options), (_request, response, next) => {
    response.set(SECURITY_HEADERS);
    next();
  });
  if (options.corsOrigins.length > 0) {
    const exposedHeaders = ['Retry-After', 'X-Cache', 'X-Request-Id'];
    app.use(cors({ origin: [...options.corsOrigins], methods: ['GET', 'POST'], exposedHeaders, maxAge: 600 }));
  }
  if (options.validateResponses) {
    app.use(responseCheck(document));
  }

  const keyed = requireKey(options.keys);
  const limited = [...keyed, ...limitRate(options.rateLimit)];
  app.route('/caption').post(limited, inferenceRoute(options, CAPTION)).all(methodNotAllowed('POST'));
  app.route('/vqa').post(limited, inferenceRoute(options, VQA)).all(methodNotAllowed('POST'));

  const get = (path: string, ...handlers: express.RequestHandler[]): void => {
    app
      .route(path)
      .get(...handlers)
      .all(methodNotAllowed('GET'));
  };
  get('/models', ...keyed, (_request, response) => {
    response.json({ models: models().map((model) => describeModel(model, options.devices, options.precision)) });
  });
  get('/health/live', live);
  get('/health/ready', ready(service, closing));
  get('/v2/health/live', kserveLive);
  get('/v2/health/ready', kserveReady(service, closing));
  get('/v2/models/:name/ready', kserveModelReady(service, closing, models));
  get('/v2/models/:name/versions/:version/ready', kserveModelReady(service, closing, models));
  if (options.openMetrics) {
    get('/metrics', metrics.handler);
  }
  get('/openapi.yaml', (_request, response) => void response.type('application/yaml').send(document.text));
  app.use('/docs', swaggerUi.serve);
  get('/docs', swaggerUi.setup(undefined, { swaggerUrl: '../openapi.yaml', swaggerOptions: { validatorUrl: null } }));

  app.use(notFound, problemHandler(logger));
  return app;
}
