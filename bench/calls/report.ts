// Medians of rounds, and the one table that the bench prints. No I/O.

export interface Round {
  readonly callsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** CPU of both sidecars; null for a direct call, and where it cannot be known. */
  readonly cpuUsPerCall: number | null
}

export interface Row {
  readonly callers: number
  readonly direct: Round
  readonly through: Round
}

/** The value below which the share `q` of the values lies (nearest rank). */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN
}

/** Each number of the rounds by itself: its median. */
export function medianRound(rounds: readonly Round[]): Round {
  const median = (pick: (round: Round) => number): number => quantile(rounds.map(pick), 0.5)
  return {
    callsPerSecond: median((round) => round.callsPerSecond),
    p50Ms: median((round) => round.p50Ms),
    p99Ms: median((round) => round.p99Ms),
    cpuUsPerCall: rounds.some((round) => round.cpuUsPerCall === null)
      ? null
      : median((round) => round.cpuUsPerCall ?? 0),
  }
}

const HEADINGS = [
  'callers',
  'path',
  'calls/s',
  'p50 ms',
  'p99 ms',
  'CPU us/call',
  'calls/s ratio',
  'p50 ratio',
]

export function formatReport(rows: readonly Row[]): string {
  const lines = rows.flatMap(({ callers, direct, through }) => [
    cellsOf(String(callers), 'direct', direct, ['', '']),
    cellsOf('', 'sidecars', through, [
      (through.callsPerSecond / direct.callsPerSecond).toFixed(3),
      (through.p50Ms / direct.p50Ms).toFixed(1),
    ]),
  ])
  const table = [HEADINGS, ...lines]
  const widths = HEADINGS.map((_, column) => Math.max(...table.map((cells) => cells[column]?.length ?? 0)))
  return table
    .map((cells) => cells.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('  '))
    .join('\n')
}

const cellsOf = (callers: string, name: string, round: Round, ratios: readonly string[]): string[] => [
  callers,
  name,
  round.callsPerSecond.toFixed(0),
  round.p50Ms.toFixed(2),
  round.p99Ms.toFixed(2),
  round.cpuUsPerCall === null ? '-' : round.cpuUsPerCall.toFixed(0),
  ...ratios,
]
