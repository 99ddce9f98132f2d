// troth can: what the policy in force says of one call, before anybody makes it. Exit 0 permit, 4 deny.

import { Command } from 'commander'
import { explain } from '../../mesh/policy/explain.js'
import { adminClient } from '../admin-client.js'
import { type DefineCommand, withExamples } from '../command.js'
import { EXIT } from '../exit.js'
import { asTyped, type Session } from '../session.js'

export const canCommand: DefineCommand = (context) =>
  withExamples(
    new Command('can')
      .description('say whether the policy in force allows a call, and why (exit 0 permit, 4 deny)')
      .argument('<from>', 'the caller: an agent, or a whole SPIFFE ID')
      .argument('<to>', 'the callee')
      .argument('<method>', 'HTTP method')
      .argument('<path>', 'path of the call')
      .action((from: string, to: string, method: string, path: string) =>
        can(context.session(), { from, to, method, path }),
      ),
    context,
    'can planner tickets GET /tickets/42',
    'can planner tickets DELETE /tickets/42 --json',
  )

async function can(
  session: Session,
  question: { from: string; to: string; method: string; path: string },
): Promise<void> {
  const { out, json } = session
  const answer = await adminClient(session).can(question)
  if (json) out.json(answer)
  else {
    for (const line of explain({ ...answer, caller: question.from, callee: question.to }).split('\n'))
      out.line(line)
    if (answer.suggestion !== null) out.say(`then: ${asTyped(session, 'policy push')}`)
  }
  session.exitWith(answer.decision === 'permit' ? EXIT.ok : EXIT.denied)
}
