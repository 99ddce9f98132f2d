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
  /** Resolves when everything is closed, whatever failed. @throws the first error of a loop or a close */
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
  const fail = (name: string, cause: unknown): void => {
    failure ??= {
      error: cause instanceof MeshError ? cause : new MeshError('INTERNAL', `${name} failed`, { cause }),
    }
  }

  return {
    signal: abort.signal,
    defer: (name, close) => void closers.push({ name, close }),
    run(name, loop) {
      loops.push(
        loop(abort.signal).catch((error: unknown) => {
          fail(name, error)
          stop()
        }),
      )
    },
    stop,
    async done() {
      await stopped
      for (const { name, close } of closers.reverse()) {
        try {
          await close()
        } catch (error) {
          fail(name, error)
        }
      }
      await Promise.all(loops)
      if (failure !== undefined) throw failure.error
    },
  }
}

/** Stops the lifecycle at the first SIGTERM or SIGINT; a second one is left to the default action, which ends the process. */
export function stopOnSignals(lifecycle: Lifecycle): void {
  const names = ['SIGTERM', 'SIGINT'] as const
  const stop = (): void => {
    for (const name of names) process.removeListener(name, stop)
    lifecycle.stop()
  }
  for (const name of names) process.on(name, stop)
}
