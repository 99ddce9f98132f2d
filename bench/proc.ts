// What the kernel counts for processes and their children: CPU time and resident memory, from /proc. Null where there is no /proc.

import { existsSync, readdirSync, readFileSync } from 'node:fs'

/** /proc/PID/stat counts in ticks of 10 ms (USER_HZ is 100 on every Linux that Node runs on). */
const TICK_MS = 10
const hasProc = existsSync('/proc/self/stat')

/** User and system time of all threads of these processes and their children so far, in ms. */
export function cpuMsOf(pids: readonly number[]): number | null {
  if (!hasProc) return null
  return withChildren(pids).reduce((sum, pid) => sum + (scheduledMs(pid) ?? tickedMs(pid)), 0)
}

/** Resident memory in MB of each of these processes, with its children. */
export function rssMbOf(pids: readonly number[]): number[] | null {
  if (!hasProc) return null
  return pids.map((pid) =>
    withChildren([pid]).reduce((sum, each) => {
      const kb = /^VmRSS:\s+(\d+)/m.exec(read(`/proc/${each}/status`))?.[1] ?? '0'
      return sum + Number(kb) / 1024
    }, 0),
  )
}

function withChildren(pids: readonly number[]): number[] {
  return pids.flatMap((pid) => {
    const children = threadsOf(pid).flatMap((thread) =>
      read(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean).map(Number),
    )
    return [pid, ...withChildren(children)]
  })
}

/** In nanoseconds where the kernel keeps them: rounds are short, and ticks are coarse. */
function scheduledMs(pid: number): number | null {
  const runs = threadsOf(pid).map((thread) => read(`/proc/${pid}/task/${thread}/schedstat`).split(' ')[0])
  if (runs.length === 0 || runs.includes('')) return null
  return runs.reduce((sum, ns) => sum + Number(ns) / 1e6, 0)
}

function tickedMs(pid: number): number {
  const fields = (read(`/proc/${pid}/stat`).split(') ')[1] ?? '').split(' ')
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * TICK_MS
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

/** Empty when the process is gone, or the kernel does not keep it. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
