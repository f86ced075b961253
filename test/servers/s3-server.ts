import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import * as sdk from '@aws-sdk/client-s3';
import { freePorts } from './free-ports';
import { Program } from './program';

export const WEED = 'bin/weed';
const ACCESS_KEY = 'key-of-the-tests';
const SECRET = 'secret-of-the-tests';
/** More objects at a time only wait for each other. */
const UPLOADS = 16;

/** SeaweedFS with one S3 account, in a folder of its own. */
export class S3Server {
  private readonly client: S3Client;

  private constructor(
    private readonly program: Program,
    readonly endpoint: string,
  ) {
    const credentials = { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET };
    this.client = new sdk.S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
  }

  static async start(): Promise<S3Server> {
    const account = { name: 'tests', credentials: [{ accessKey: ACCESS_KEY, secretKey: SECRET }], actions: ['Admin'] };
    const ports = await freePorts(8);
    const [s3 = 0] = ports;
    const names = ['s3.port', 's3.port.grpc', 'master.port', 'master.port.grpc', 'volume.port', 'volume.port.grpc'];
    const argumentsIn = (folder: string): string[] => {
      const accounts = path.join(folder, 's3.json');
      writeFileSync(accounts, JSON.stringify({ identities: [account] }));
      return [
        'server',
        `-dir=${folder}`,
        '-ip=127.0.0.1',
        '-ip.bind=127.0.0.1',
        '-s3',
        `-s3.config=${accounts}`,
        ...[...names, 'filer.port', 'filer.port.grpc'].map((name, n) => `-${name}=${ports[n]}`),
        '-s3.port.iceberg=0',
        '-s3.port.lance=0',
        '-master.telemetry=false',
        '-master.volumeSizeLimitMB=64',
      ];
    };
    const endpoint = `http://127.0.0.1:${s3}`;
    return new S3Server(await Program.start(WEED, argumentsIn, () => isReady(endpoint)), endpoint);
  }

  /** What tools of AWS read to find this server; the secret may be another. */
  environment(secret = SECRET): Record<string, string> {
    return {
      AWS_ENDPOINT_URL: this.endpoint,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: ACCESS_KEY,
      AWS_SECRET_ACCESS_KEY: secret,
      OBJECT_STORE_PATH_STYLE: 'true',
    };
  }

  /** Makes a bucket of these objects. */
  async fill(bucket: string, objects: ReadonlyMap<string, Uint8Array>): Promise<void> {
    await this.client.send(new sdk.CreateBucketCommand({ Bucket: bucket }));
    const left = [...objects];
    const put = async (): Promise<void> => {
      for (let next = left.shift(); next !== undefined; next = left.shift()) {
        const [key, body] = next;
        await this.client.send(new sdk.PutObjectCommand({ Bucket: bucket, Key: key, Body: body }));
      }
    };
    await Promise.all(Array.from({ length: UPLOADS }, put));
  }

  stop(): Promise<void> {
    this.client.destroy();
    return this.program.stop();
  }
}

async function isReady(endpoint: string): Promise<void> {
  for (;;) {
    const response = await fetch(`${endpoint}/healthz`).catch(() => undefined);
    if (response?.ok) {
      return;
    }
    await sleep(50);
  }
}
