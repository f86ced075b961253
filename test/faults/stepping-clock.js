// Loaded into a server (NODE_OPTIONS=--require): its wall clock jumps by up to a day, back or ahead, twenty times a second.

const now = Date.now.bind(Date);
const { Date: RealDate } = globalThis;
const DAY_MS = 86_400_000;
let offMs = 0;

globalThis
  .setInterval(() => {
    offMs = (Math.random() - 0.5) * 2 * DAY_MS;
  }, 50)
  .unref();

globalThis.Date = class extends RealDate {
  constructor(...values) {
    super(...(values.length === 0 ? [now() + offMs] : values));
  }

  static now() {
    return now() + offMs;
  }
};
