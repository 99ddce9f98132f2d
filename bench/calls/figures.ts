// What is compared in a scenario, and what the data plane has to reach: figures are ratios of ours to theirs in one paired run.

/** What a run gives. CPU is that of both proxies for each unit; bytes are those of a body for each second. */
export const MEASURES = ['rate', 'p50Ms', 'p99Ms', 'cpuUs'] as const
export type Measure = (typeof MEASURES)[number]

/** One run, or the median of several. NaN: there is none, e.g. the CPU of no proxy. */
export type Values = Readonly<Record<Measure, number>>

/** How ours has to stand to theirs. `ratio`: divided by it; `added`: what is left when theirs is taken away. */
export interface Figure {
  readonly measure: Measure
  readonly against: string
  readonly relation: 'ratio' | 'added'
  /** At most so much; of the rate: at least. */
  readonly must: number
  readonly aim: number
}

export type Verdict = 'aim met' | 'must met' | 'missed' | 'unknown'

export function verdictOf(
  { measure, must, aim }: Pick<Figure, 'measure' | 'must' | 'aim'>,
  value: number,
): Verdict {
  const holds = (bound: number): boolean => (measure === 'rate' ? value >= bound : value <= bound)
  if (Number.isNaN(value)) return 'unknown'
  if (holds(aim)) return 'aim met'
  return holds(must) ? 'must met' : 'missed'
}

/** A figure as the table shows it, e.g. `CPU <= 0.65 (aim 0.45): missed by 9 %`. */
export function formatFigure(figure: Figure, value: number): string {
  const { measure, relation, must, aim } = figure
  const sign = measure === 'rate' ? '>=' : '<='
  const verdict = verdictOf(figure, value)
  const by = verdict === 'missed' ? ` by ${(Math.abs(value / must - 1) * 100).toFixed(0)} %` : ''
  const what = relation === 'added' ? `${LABELS[measure]} added ${value.toFixed(2)}` : LABELS[measure]
  return `${what} ${sign} ${must} (aim ${aim}): ${verdict}${by}`
}

export const LABELS: Readonly<Record<Measure, string>> = {
  rate: 'rate',
  p50Ms: 'p50',
  p99Ms: 'p99',
  cpuUs: 'CPU',
}
