import { setFlagsFromString } from 'node:v8';
import { startApp } from './app';
import { describeSettings, GARBAGE_FLAG, readSettings, type Settings, SettingsError, showSettings } from './config';
import { firstSignal } from './first-signal';
import { createLogger, type Logger, LogOutput } from './logger';
import { BundleError } from './onnx/manifest';

setFlagsFromString(GARBAGE_FLAG);

async function main(output: LogOutput): Promise<void> {
  // Heard from the first moment on, so that a server which is still loading ends as well as one that answers.
  // A terminal that is closed says so by SIGHUP, by which an operator has bundles read again.
  const stopped = process.stdout.isTTY ? firstSignal('SIGTERM', 'SIGINT', 'SIGHUP') : firstSignal('SIGTERM', 'SIGINT');
  const settings = readSettings(undefined, process.argv.slice(2));
  const logger = createLogger(settings.logLevel, output);
  logger.info({ event: 'settings', ...showSettings(settings) });
  warnIfOpen(settings, logger);
  const app = await startApp(settings, logger, output);
  if (!process.stdout.isTTY) {
    process.on('SIGHUP', () => {
      app.reload().catch((error: unknown) => {
        logger.error({ event: 'reload_failed', err: error });
      });
    });
  }
  const { host } = settings;
  const { models, port, adminPort } = app;
  logger.info({ event: 'listening', models, host, port, adminPort, pid: process.pid });
  say(`${models.join(', ')} listens on http://${host}:${app.port} (HOST ${host}, PORT ${app.port}).`);
  const ready = app.ready.then(() => {
    logger.info({ event: 'ready' });
    say(`Ready. Try: curl -F image=@photo.jpg http://localhost:${app.port}/caption`);
    return stopped;
  });
  try {
    // A bundle that cannot be served rejects `ready`.
    await Promise.race([ready, stopped]);
  } finally {
    await app.close();
  }
}

/** Beyond this host, whoever finds the server may use it. */
function warnIfOpen({ host, apiKeysFile }: Settings, logger: Logger): void {
  const isLocal = host === 'localhost' || host === '::1' || host.startsWith('127.');
  if (!isLocal && apiKeysFile === '') {
    logger.warn({ event: 'open_to_all', host });
    say(`Anybody who reaches ${host} may use this server: set API_KEYS_FILE, or HOST to 127.0.0.1.`);
  }
}

/** For the person who starts the server; the logs, on standard output, are for programs. */
function say(sentence: string): void {
  process.stderr.write(`${sentence}\n`);
}

/** What the person who starts the server can mend is told in a sentence; all else with its stack. */
function explain(error: unknown): string {
  if (error instanceof SettingsError || error instanceof BundleError) {
    return error.message;
  }
  if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') {
    return 'Another program listens there already; set PORT (or ADMIN_PORT) to another number.';
  }
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** @returns the exit code */
async function run(): Promise<number> {
  // What cannot be told, on a full disk for instance, is not worth ending for.
  process.stderr.on('error', () => undefined);
  if (process.argv.includes('--help')) {
    process.stdout.write(`${describeSettings()}\n`);
    return 0;
  }
  const output = new LogOutput(process.stdout, (reason) => {
    say(`Log lines are lost (${reason}); distillvlm_log_lines_dropped_total of /metrics counts them.`);
  });
  try {
    await main(output);
    return 0;
  } catch (error) {
    say(explain(error));
    return 1;
  } finally {
    await output.flush();
  }
}

void run().then((code) => process.exit(code));
