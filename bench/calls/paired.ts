// Paired, interleaved runs: each rival runs between two runs of the reference, and its ratio is that of the reference's neighbours to it,
// so that a busy moment of a shared machine falls on both. The median of some rounds is what counts.

import { median } from '../statistics.js'
import type { Chain } from './chains/chain.js'
import type { Measure, Values } from './figures.js'
import type { Measured } from './generator/job.js'

/** Runs one chain once. @throws Error when the chain does not serve this */
export type Run = (chain: Chain) => Promise<Measured>

export interface Compared {
  readonly name: string
  readonly values: Values
  /** Reference divided by this one; null for the reference itself. */
  readonly ratios: Values | null
  /** Reference less this one; null for the reference itself. */
  readonly added: Values | null
}

export interface Unserved {
  readonly name: string
  readonly unserved: string
}

export type Result = Compared | Unserved

/** @returns the reference first, then each rival, in order */
export async function comparePaired(
  [reference, ...rivals]: readonly [Chain, ...Chain[]],
  run: Run,
  rounds: number,
): Promise<Result[]> {
  const results = new Map<string, Known | string>()
  const attempt = async (chain: Chain): Promise<Values | undefined> => {
    const { name } = chain
    try {
      const values = valuesOf(await run(chain))
      const known = results.get(name)
      if (typeof known !== 'object') results.set(name, { runs: [values], ratios: [], added: [] })
      else known.runs.push(values)
      return values
    } catch (error) {
      results.set(name, error instanceof Error ? error.message : String(error))
      return undefined
    }
  }
  let before = await attempt(reference)
  if (rivals.length === 0)
    for (let round = 1; round < rounds && before !== undefined; round++) await attempt(reference)
  for (let round = 0; round < rounds; round++) {
    for (const rival of rivals) {
      if (typeof results.get(rival.name) === 'string') continue
      const between = await attempt(rival)
      // without a reference a rival's own figures are still worth showing
      const after = before === undefined ? undefined : await attempt(reference)
      const known = results.get(rival.name)
      if (between !== undefined && before !== undefined && after !== undefined && typeof known === 'object')
        pair(known, before, after, between)
      before = after ?? before
    }
  }
  return [reference, ...rivals].map(({ name }) => {
    const known = results.get(name)
    if (typeof known !== 'object') return { name, unserved: known ?? 'was not run' }
    const { runs, ratios, added } = known
    const paired =
      ratios.length === 0
        ? { ratios: null, added: null }
        : { ratios: medianOf(ratios), added: medianOf(added) }
    return { name, values: medianOf(runs), ...paired }
  })
}

interface Known {
  readonly runs: Values[]
  readonly ratios: Values[]
  readonly added: Values[]
}

export function valuesOf({ units, elapsedMs, p50Ms, p99Ms, cpuMs }: Measured): Values {
  return {
    rate: units / (elapsedMs / 1000),
    p50Ms,
    p99Ms,
    cpuUs: cpuMs === null || cpuMs === 0 ? Number.NaN : (cpuMs * 1000) / units,
  }
}

const each = (value: (measure: Measure) => number): Values => ({
  rate: value('rate'),
  p50Ms: value('p50Ms'),
  p99Ms: value('p99Ms'),
  cpuUs: value('cpuUs'),
})

function pair({ ratios, added }: Known, before: Values, after: Values, between: Values): void {
  const mean = each((measure) => (before[measure] + after[measure]) / 2)
  ratios.push(each((measure) => mean[measure] / between[measure]))
  added.push(each((measure) => mean[measure] - between[measure]))
}

const medianOf = (runs: readonly Values[]): Values =>
  each((measure) => median(runs.map((values) => values[measure])))
