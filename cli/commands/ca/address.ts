// troth ca address: shows or changes the host that tokens and server certificates carry.

import path from 'node:path'
import { Command } from 'commander'
import { withSetting } from '../../../host/config.js'
import { readIfThere, writeFileAtomic } from '../../../host/files.js'
import { adminClient } from '../../admin-client.js'
import { host } from '../../arguments.js'
import { type DefineCommand, withExamples } from '../../command.js'
import type { Session } from '../../session.js'

export const addressCommand: DefineCommand = (context) =>
  withExamples(
    new Command('address')
      .description('show or set the host that tokens and server certificates carry')
      .argument('[host]', 'an IP address or a name of this host', host)
      .action((value: string | undefined) => address(context.session(), value)),
    context,
    'ca address',
    'ca address 10.0.0.5',
  )

async function address(session: Session, value: string | undefined): Promise<void> {
  const { home, out, json } = session
  const admin = adminClient(session)
  const status = value === undefined ? await admin.status() : await admin.setAddress(value)
  if (value !== undefined) {
    const file = path.join(home, 'config.yaml')
    writeFileAtomic(file, withSetting(readIfThere(file) ?? '', 'address', value), 0o600)
  }
  if (json) out.json({ address: status.address })
  else out.line(status.address)
  if (value !== undefined)
    out.say('restart the CA and the collector, so that they listen there; then mint new tokens')
}
