const { TestEnvironment } = require('jest-environment-node');

/**
 * Node's environment with the outer realm's typed arrays: onnxruntime-node's native code checks `instanceof` against
 * them and refuses those of the test's own realm ("data must be type of Float32Array").
 */
class TypedArrayEnvironment extends TestEnvironment {
  async setup() {
    await super.setup();
    Object.assign(this.global, {
      ArrayBuffer,
      BigInt64Array,
      BigUint64Array,
      Float32Array,
      Float64Array,
      Int32Array,
      Uint8Array,
      Uint16Array,
    });
  }
}

module.exports = TypedArrayEnvironment;
