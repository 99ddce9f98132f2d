// How a process of ours lives: its background loops are named, awaited and stopped in reverse order; a signal stops it once.

import { MeshError } from '../mesh/errors.js'

export interface Lifecycle {
  /** Aborted when the process is to stop. */
  readonly signal: AbortSignal
  /** Registers what must be closed; closed in reverse order of registration. */
  defer(name: string, close: () => void | Promise<void>): void
  /** Runs a loop until it ends; an error of a loop stops the whole process and comes out of `done`. */
  run(name: string, loop: (signal: AbortSignal) => Promise<void>): void
  stop(): void
  /** Resolves when everything is closed. @throws the first error of a loop */
  done(): Promise<void>
}

export function openLifecycle(): Lifecycle {
  const abort = new AbortController()
  const closers: { name: string; close: () => void | Promise<void> }[] = []
  const loops: Promise<void>[] = []
  let failure: { error: unknown } | undefined

  const stopped = new Promise<void>((resolve) => {
    if (abort.signal.aborted) resolve()
    abort.signal.addEventListener('abort', () => resolve(), { once: true })
  })
  const stop = (): void => abort.abort()

  return {
    signal: abort.signal,
    defer: (name, close) => void closers.push({ name, close }),
    run(name, loop) {
      loops.push(
        loop(abort.signal).catch((error: unknown) => {
          failure ??= {
            error:
              error instanceof MeshError
                ? error
                : new MeshError('INTERNAL', `${name} failed`, { cause: error }),
          }
          stop()
        }),
      )
    },
    stop,
    async done() {
      await stopped
      for (const { close } of closers.reverse()) await close()
      await Promise.all(loops)
      if (failure !== undefined) throw failure.error
    },
  }
}

/** Stops the lifecycle at the first SIGTERM or SIGINT; a second one is left to the default action, which ends the process. */
export function stopOnSignals(lifecycle: Lifecycle): void {
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => lifecycle.stop())
}
