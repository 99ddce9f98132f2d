// Several identities in one process. Each is started, runs and ends by itself, with everything it has: one that cannot start, or fails
// while it runs, is told and leaves the others as they are. What is common is the event loop, its turn, and the log.

import { errorFields, type Log } from '../host/log.js'
import { asMeshError, MeshError } from '../mesh/errors.js'
import type { AgentName } from '../mesh/spiffe-id.js'
import type { RunningSidecar, SidecarConfig } from './config.js'

/** A sidecar whose doors are open. */
export interface OpenedSidecar {
  readonly running: RunningSidecar
  /** Resolves at the CA's first word, or after a moment without it. Never rejects. */
  readonly heard: Promise<void>
}

/** One of several. */
export interface ServedAgent {
  readonly agent: AgentName
  readonly instance: string | null
  /** Why it does not run; null when it was started. */
  readonly failure: MeshError | null
  /** Null when it was not started. */
  readonly running: RunningSidecar | null
}

export interface RunningSidecars {
  /** In the order of their configurations. */
  readonly agents: readonly ServedAgent[]
  /** Resolves when all have ended. @throws the first error that kept one from starting, or ended it */
  readonly done: Promise<void>
  /** Stops all side by side. */
  readonly stop: () => Promise<void>
}

/** Enrolments and openings under way at once. */
const AT_ONCE = 4

/**
 * Starts them all; resolves when each has started or failed to.
 * @param open starts one
 * @throws MeshError the first one's, naming its agent, when none could be started
 */
export async function startTogether(
  configs: readonly SidecarConfig[],
  open: (config: SidecarConfig) => Promise<OpenedSidecar>,
  log: Log,
): Promise<RunningSidecars> {
  const failures: MeshError[] = []
  const ends: Promise<void>[] = []
  const heard: Promise<void>[] = []
  const failed = (event: string, { agent, instance }: SidecarConfig, error: unknown): MeshError => {
    const failure = failureOf({ agent, instance }, error)
    log.error(event, { agent, instance, ...errorFields(failure), hint: failure.hint })
    failures.push(failure)
    return failure
  }
  const start = async (config: SidecarConfig): Promise<ServedAgent> => {
    const { agent, instance } = config
    try {
      const { running, heard: word } = await open(config)
      ends.push(running.done.catch((error: unknown) => void failed('sidecar.failed', config, error)))
      heard.push(word)
      return { agent, instance, running, failure: null }
    } catch (error) {
      return { agent, instance, running: null, failure: failed('sidecar.not-started', config, error) }
    }
  }
  const agents = await mapSome(configs, start)
  const [none] = agents.some(({ running }) => running !== null)
    ? []
    : agents.flatMap(({ failure }) => failure ?? [])
  if (none !== undefined) throw none
  await Promise.all(heard)
  const done = Promise.all(ends).then(() => {
    const [first] = failures
    if (first !== undefined) throw first
  })
  return {
    agents,
    done,
    stop: () => {
      for (const { running } of agents) void running?.stop()
      return done
    },
  }
}

/** Maps in order, so many at once. */
async function mapSome<T, R>(items: readonly T[], act: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  const left = items.entries()
  const work = async (): Promise<void> => {
    for (const [index, item] of left) results[index] = await act(item)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return results
}

function failureOf(
  { agent, instance }: Pick<SidecarConfig, 'agent' | 'instance'>,
  error: unknown,
): MeshError {
  const { code, message, hint, cause } = asMeshError(error)
  const name = instance === null ? agent : `${agent}@${instance}`
  return new MeshError(code, `agent ${name}: ${message}`, { cause: cause ?? error, hint })
}
