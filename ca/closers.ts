// What was opened, to be closed in reverse order, once: after a failed start as after a good run.

export interface Closers {
  add(close: () => void | Promise<void>): void
  /** Idempotent; every call waits for the same closing. */
  close(): Promise<void>
}

export function openClosers(): Closers {
  const steps: (() => void | Promise<void>)[] = []
  let closing: Promise<void> | undefined
  const closeAll = async (): Promise<void> => {
    for (const step of steps.reverse()) await step()
  }
  return {
    add: (close) => void steps.push(close),
    close: () => {
      closing ??= closeAll()
      return closing
    },
  }
}
