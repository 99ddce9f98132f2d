// The load generator seen from the bench: one process for all jobs, so that it is warm.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import type { Answer, Job, Measured } from './job.js'

export interface Generator extends AsyncDisposable {
  /** One job at a time. @throws Error with what failed, e.g. an answer other than 200 */
  run(job: Job): Promise<Measured>
}

export function startGenerator(): Generator {
  const child = fork(path.join(import.meta.dirname, 'main.js'), { execArgv: [] })
  const exited = once(child, 'exit').then(() => {
    throw new Error('the load generator ended')
  })
  exited.catch(() => undefined)
  return {
    async run(job) {
      if (!child.connected) throw new Error('the load generator ended')
      const answered = once(child, 'message') as Promise<[Answer]>
      child.send(job)
      const [answer] = await Promise.race([answered, exited])
      if ('failed' in answer) throw new Error(answer.failed)
      return answer.measured
    },
    async [Symbol.asyncDispose]() {
      if (child.connected) child.disconnect()
      await exited.catch(() => undefined)
    },
  }
}
