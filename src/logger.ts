import { type Logger, pino } from 'pino';
import type { Settings } from './config';

export type { Logger };

/** Logs are events with fields, one JSON line each on standard output; never bytes of a photo or a user's words. */
export function createLogger(level: Settings['logLevel']): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime });
}
