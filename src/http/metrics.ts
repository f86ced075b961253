import type { RequestHandler } from 'express';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { InferenceService } from '../inference/service';
import { observeInference } from './inference-metrics';
import type { Outcome } from './request-context';

/** Seconds: from a refusal to the longest deadline that makes sense. */
const DURATION_BUCKETS = [0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30];

/** What `GET /metrics` shows; one registry for each server, beside the figures of the Node process. */
export class Metrics {
  private readonly registry = new Registry();

  private readonly requests = new Counter({
    name: 'distillvlm_requests_total',
    help: 'Requests answered, by route and outcome (ok, client_closed or the code of an error)',
    labelNames: ['route', 'outcome'] as const,
    registers: [this.registry],
  });

  private readonly duration = new Histogram({
    name: 'distillvlm_request_duration_seconds',
    help: 'From the first byte of a request to the last of its response',
    labelNames: ['route'] as const,
    buckets: DURATION_BUCKETS,
    registers: [this.registry],
  });

  /** Photos that were handed to inference and have no result yet. */
  readonly queueDepth = new Gauge({
    name: 'distillvlm_queue_depth',
    help: 'Photos that wait for inference or are in work',
    registers: [this.registry],
  });

  constructor({ events }: InferenceService) {
    collectDefaultMetrics({ register: this.registry });
    observeInference(events, this.registry);
  }

  observe(route: string, outcome: Outcome, seconds: number): void {
    this.requests.inc({ route, outcome });
    this.duration.observe({ route }, seconds);
  }

  readonly handler: RequestHandler = async (_request, response) => {
    response.type(this.registry.contentType).send(await this.registry.metrics());
  };
}
