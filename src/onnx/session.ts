import * as ort from 'onnxruntime-node';
import type { Bundle } from './bundle';
import { BundleError, type GraphName, type TensorSpec } from './manifest';
import type { Precision } from './precision';
import type { ElementType, Tensor, TensorOf } from './tensor';

/** One of onnxruntime's, of a GPU with its number. */
export type ExecutionProvider = string | { readonly name: string; readonly deviceId: number };

export interface SessionOptions {
  /** Threads inside one run of a graph, at least 1. */
  readonly threads: number;
  /** onnxruntime's execution providers, most wanted first; one whose libraries are missing is an error. */
  readonly executionProviders: readonly ExecutionProvider[];
  /** By default fp32. */
  readonly precision?: Precision;
}

interface ValueShape {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly (number | string)[];
}

/** A loaded graph whose inputs and outputs are those that the manifest promises. */
export class Session {
  private constructor(
    private readonly graph: string,
    private readonly session: ort.InferenceSession,
  ) {}

  /** @throws BundleError when the graph cannot be loaded or differs from the manifest. */
  static async load(bundle: Bundle, name: GraphName, options: SessionOptions): Promise<Session> {
    const spec = bundle.graph(name, options.precision ?? 'fp32');
    let session: ort.InferenceSession;
    try {
      session = await ort.InferenceSession.create(bundle.path(spec.file), {
        intraOpNumThreads: options.threads,
        executionProviders: [...options.executionProviders] as ort.InferenceSession.ExecutionProviderConfig[],
        // Threads that spin while they wait steal the cores of the other processes.
        extra: { session: { intra_op: { allow_spinning: '0' } } },
      });
    } catch (cause) {
      throw new BundleError(`${spec.file} cannot be loaded by onnxruntime: ${String(cause)}`, { cause });
    }
    compare(`inputs of ${spec.file}`, spec.inputs, session.inputMetadata);
    compare(`outputs of ${spec.file}`, spec.outputs, session.outputMetadata);
    return new Session(spec.file, session);
  }

  /** Blocks the event loop until the graph has run. */
  async run(inputs: Readonly<Record<string, Tensor>>): Promise<Outputs> {
    const feeds = Object.entries(inputs).map(([name, { type, data, dims }]) => [
      name,
      new ort.Tensor(type, data, dims),
    ]);
    return new Outputs(this.graph, await this.session.run(Object.fromEntries(feeds) as ort.InferenceSession.FeedsType));
  }
}

/** What one run of a graph gave, by name and type. */
export class Outputs {
  constructor(
    private readonly graph: string,
    private readonly values: ort.InferenceSession.ReturnType,
  ) {}

  get<T extends ElementType>(name: string, type: T): TensorOf<T> {
    const value = this.values[name];
    if (value?.type !== type) {
      throw new TypeError(`Expected output ${name} of ${this.graph} as ${type} but received ${value?.type}`);
    }
    return { type, data: value.data, dims: value.dims } as TensorOf<T>;
  }
}

function compare(what: string, promised: readonly TensorSpec[], found: readonly ort.InferenceSession.ValueMetadata[]) {
  const tensors = found.map((value) => (value.isTensor ? value : { ...value, type: 'not a tensor', shape: [] }));
  const same =
    tensors.length === promised.length && promised.every((spec) => tensors.some((value) => agree(spec, value)));
  if (!same) {
    const [here, there] = [tensors, promised].map((values) => values.map(describe).join(', '));
    throw new BundleError(`The ${what} are ${here} where the manifest says ${there}.`);
  }
}

/** onnxruntime works out sizes that the graph leaves free, so a free axis of the manifest agrees with any. */
function agree(promised: TensorSpec, found: ValueShape): boolean {
  return (
    promised.name === found.name &&
    promised.type === found.type &&
    promised.shape.length === found.shape.length &&
    promised.shape.every((size, axis) => typeof size === 'string' || size === found.shape[axis])
  );
}

function describe({ name, type, shape }: ValueShape): string {
  return `${name} ${type} [${shape.join(', ')}]`;
}
