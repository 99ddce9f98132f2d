// The one table of the bench: a block a scenario, a line a chain, ratios of ours to it, and what has to be reached. No I/O.

import { type Figure, formatFigure, type Measure, type Values } from './figures.js'
import type { Result } from './paired.js'

const WIDTHS = [18, 16, 9, 9, 9, 9, 2, 6, 6, 6, 6, 2]

export const HEADINGS = [
  columns(['', '', '', '', '', '', '', 'ours / it:']),
  columns([
    'scenario',
    'chain',
    'rate/s',
    'p50 ms',
    'p99 ms',
    'CPU us',
    '',
    'rate',
    'p50',
    'p99',
    'CPU',
    '',
    'to reach',
  ]),
].join('\n')

export function formatBlock(name: string, results: readonly Result[], figures: readonly Figure[]): string {
  return results
    .map((result, at) => {
      const start = [at === 0 ? name : '', result.name]
      if ('unserved' in result) return columns([...start, `  not served: ${result.unserved}`.slice(0, 120)])
      const { values, ratios, added } = result
      const own = [rate(values.rate), number(values.p50Ms), number(values.p99Ms), number(values.cpuUs)]
      if (ratios === null) return columns([...start, ...own])
      const reached = figures
        .filter(({ against }) => against === result.name)
        .map((figure) =>
          formatFigure(
            figure,
            (figure.relation === 'added' && added !== null ? added : ratios)[figure.measure],
          ),
        )
      return columns([...start, ...own, '', ...ratiosIn(ratios), '', reached.join('; ')])
    })
    .join('\n')
}

const ratiosIn = (ratios: Values): string[] =>
  (['rate', 'p50Ms', 'p99Ms', 'cpuUs'] satisfies Measure[]).map((measure) => number(ratios[measure]))

const rate = (value: number): string => (value >= 100 ? value.toFixed(0) : number(value))

/** Three digits that count. */
function number(value: number): string {
  if (Number.isNaN(value)) return '-'
  if (value >= 100) return value.toFixed(0)
  return value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

/** The first two stand left, the last as it is, numbers right. */
function columns(cells: readonly string[]): string {
  return cells
    .map((cell, at) => (at < 2 ? cell.padEnd(WIDTHS[at] ?? 0) : cell.padStart(WIDTHS[at] ?? 0)))
    .join(' ')
    .trimEnd()
}
