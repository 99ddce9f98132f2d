// What this process holds once its garbage is gone: without a collection first, a figure says when V8 last had time for one.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Bytes of objects and of buffers in use, garbage collected first: some ten milliseconds. */
export function heldBytes(): number {
  // what a collection finds of buffers is freed beside it, and surely before the next one
  collect()
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
