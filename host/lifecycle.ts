// How a process of ours lives: what it opens and the loops it runs have names, and end in reverse order of their registration, one
// after the other, so that nothing loses what it stands on: a drain still has the feed, the feed still has its state. A signal stops it once.

import { MeshError } from '../mesh/errors.js'

export interface Lifecycle {
  /** Aborted as soon as the process is to stop. */
  readonly signal: AbortSignal
  /** Registers what must be closed. */
  defer(name: string, close: () => void | Promise<void>): void
  /**
   * Runs a loop until it ends; an error of a loop stops the whole process and comes out of `done`.
   * @param loop its signal is aborted when what was registered after it has ended; then it is waited for
   */
  run(name: string, loop: (signal: AbortSignal) => Promise<void>): void
  stop(): void
  /** Resolves when everything has ended, whatever failed. @throws the first error of a loop or a close */
  done(): Promise<void>
}

export function openLifecycle(): Lifecycle {
  const abort = new AbortController()
  const closers: { name: string; close: () => void | Promise<void> }[] = []
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
      const end = new AbortController()
      const ended = loop(end.signal).catch((error: unknown) => {
        fail(name, error)
        stop()
      })
      closers.push({
        name,
        close() {
          end.abort()
          return ended
        },
      })
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
