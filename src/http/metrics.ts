import type { RequestHandler } from 'express';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Admission, Load } from '../inference/admission';
import { type InferenceService, PRIORITIES } from '../inference/service';
import type { LogOutput } from '../logger';
import { observeInference } from './inference-metrics';
import type { RequestOutcome } from './request-context';

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

  constructor({ events }: InferenceService, admission: Admission, log: Pick<LogOutput, 'droppedLines'>) {
    collectDefaultMetrics({ register: this.registry });
    observeInference(events, this.registry);
    this.showLoad(admission);
    this.showDroppedLines(log);
  }

  observe(route: string, outcome: RequestOutcome, seconds: number): void {
    this.requests.inc({ route, outcome });
    this.duration.observe({ route }, seconds);
  }

  private showLoad(admission: Admission): void {
    const show = (name: string, help: string, of: keyof Load): void => {
      new Gauge({
        name: `distillvlm_${name}`,
        help,
        labelNames: ['priority'] as const,
        registers: [this.registry],
        collect() {
          for (const priority of PRIORITIES) {
            this.set({ priority }, admission.loadOf(priority)[of]);
          }
        },
      });
    };
    show('queue_depth', 'Pairs of photo and question that come, wait or are in work', 'units');
    show('uploads', 'Requests whose bodies are coming', 'uploads');
    show('body_bytes', 'Bytes of the bodies of requests that come, wait or are in work', 'bytes');
  }

  private showDroppedLines(log: Pick<LogOutput, 'droppedLines'>): void {
    new Counter({
      name: 'distillvlm_log_lines_dropped_total',
      help: 'Log lines that standard output did not take: it was full, gone or too slow',
      registers: [this.registry],
      collect() {
        this.reset();
        this.inc(log.droppedLines);
      },
    });
  }

  readonly handler: RequestHandler = async (_request, response) => {
    response.type(this.registry.contentType).send(await this.registry.metrics());
  };
}
