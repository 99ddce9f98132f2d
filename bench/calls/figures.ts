// What is compared in a scenario, and what the data plane has to reach: figures are ratios of ours to theirs in one paired run.

/** What a run gives. CPU is that of both proxies for each unit; bytes are those of a body for each second. */
export const MEASURES = ['rate', 'p50Ms', 'p99Ms', 'cpuUs'] as const
export type Measure = (typeof MEASURES)[number]

/** One run, or the median of several. NaN: there is none, e.g. the CPU of no proxy. */
export type Values = Readonly<Record<Measure, number>>

/** Ours divided by theirs has to be at most this; of the rate: at least. */
export interface Figure {
  readonly measure: Measure
  readonly against: string
  readonly must: number
  readonly aim: number
}

export type Verdict = 'aim met' | 'must met' | 'missed' | 'unknown'

export function verdictOf({ measure, must, aim }: Figure, ratio: number): Verdict {
  const holds = (bound: number): boolean => (measure === 'rate' ? ratio >= bound : ratio <= bound)
  if (Number.isNaN(ratio)) return 'unknown'
  if (holds(aim)) return 'aim met'
  return holds(must) ? 'must met' : 'missed'
}

/** A figure as the table shows it, e.g. `CPU 0.71: must <= 0.65, missed by 9 %`. */
export function formatFigure(figure: Figure, ratio: number): string {
  const { measure, must, aim } = figure
  const sign = measure === 'rate' ? '>=' : '<='
  const verdict = verdictOf(figure, ratio)
  const by = verdict === 'missed' ? ` by ${(Math.abs(ratio / must - 1) * 100).toFixed(0)} %` : ''
  return `${LABELS[measure]} ${sign} ${must} (aim ${aim}): ${verdict}${by}`
}

export const LABELS: Readonly<Record<Measure, string>> = {
  rate: 'rate',
  p50Ms: 'p50',
  p99Ms: 'p99',
  cpuUs: 'CPU',
}
