// Counters, gauges and histograms in the Prometheus text format (version 0.0.4). Handles are resolved at start; label values are
// from small fixed sets, never an ID, a path or an address.

export interface Counter {
  add(amount: number): void
}
export interface Histogram {
  observe(value: number): void
}

export interface Metrics {
  counter(name: string, help: string, labels?: Labels): Counter
  histogram(name: string, help: string, labels?: Labels): Histogram
  /** `read` is called at each scrape. */
  gauge(name: string, help: string, read: () => number, labels?: Labels): void
  /** The whole exposition. */
  text(): string
}

export type Labels = Readonly<Record<string, string>>

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** Seconds, as OpenTelemetry's HTTP semantic conventions advise. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

interface Family {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly series: Map<string, () => string[]>
}

export function openMetrics(): Metrics {
  const families = new Map<string, Family>()

  const register = (
    name: string,
    about: Pick<Family, 'type' | 'help'>,
    labels: Labels,
    lines: () => string[],
  ): void => {
    const family = families.get(name) ?? { ...about, series: new Map<string, () => string[]>() }
    families.set(name, family)
    family.series.set(format(labels), lines)
  }

  return {
    counter(name, help, labels = {}) {
      let total = 0
      register(name, { type: 'counter', help }, labels, () => [`${name}${format(labels)} ${total}`])
      return {
        add(amount) {
          total += amount
        },
      }
    },
    gauge(name, help, read, labels = {}) {
      register(name, { type: 'gauge', help }, labels, () => [`${name}${format(labels)} ${read()}`])
    },
    histogram(name, help, labels = {}) {
      const counts = BUCKETS.map(() => 0)
      let sum = 0
      let count = 0
      register(name, { type: 'histogram', help }, labels, () => [
        ...BUCKETS.map(
          (le, index) => `${name}_bucket${format({ ...labels, le: String(le) })} ${counts[index] ?? 0}`,
        ),
        `${name}_bucket${format({ ...labels, le: '+Inf' })} ${count}`,
        `${name}_sum${format(labels)} ${sum}`,
        `${name}_count${format(labels)} ${count}`,
      ])
      return {
        observe(value) {
          sum += value
          count += 1
          for (let index = BUCKETS.length - 1; index >= 0 && value <= (BUCKETS[index] ?? 0); index -= 1)
            counts[index] = (counts[index] ?? 0) + 1
        },
      }
    },
    text: () => [...families].map(([name, family]) => exposition(name, family)).join(''),
  }
}

function exposition(name: string, { type, help, series }: Family): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${[...series.values()].flatMap((lines) => lines()).join('\n')}\n`
}

function format(labels: Labels): string {
  const pairs = Object.entries(labels).map(
    ([key, value]) => `${key}="${value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`,
  )
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}
