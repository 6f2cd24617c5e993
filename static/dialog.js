/* The dialog: it asks the server what deferring the selection would do, and shows the answer. */

import { find } from './page.js'
import { selectionFields } from './selection.js'

let heading = null // of the dialog, as it was announced last

export function askToDefer() {
  const dialog = find('#dialog')
  find('#dialog-body').replaceChildren(find('#dialog-wait').content.cloneNode(true))
  find('#broken').hidden = true
  if (!dialog.open) dialog.showModal()
  heading = null
  sendSelection()
}

function sendSelection() {
  const into = { source: '#dialog', target: '#dialog-body', swap: 'innerHTML', values: selectionFields() }
  window.htmx.ajax('POST', '/selections/', into).catch(() => {}) // reported by htmx:sendError
}

/** Send the request that failed again. The form carries a key, so sending it twice starts one job. */
export function repeatInDialog() {
  const form = find('#dialog form')
  if (form) form.requestSubmit()
  else sendSelection()
}

export function closeDialog() {
  find('#dialog').close()
}

document.addEventListener('htmx:beforeSwap', (event) => {
  if (event.detail.target.id === 'dialog-body' && !find('#dialog').open) event.detail.shouldSwap = false
})

document.addEventListener('htmx:afterSettle', ({ detail }) => {
  if (detail.target.id !== 'dialog-body') return
  const key = find('#dialog [name=key]')
  if (key) key.value = newKey()
  find('#broken').hidden = true
  moveFocus()
})

/** Move the focus into new content. Answers to polls keep the heading, and then the focus stays where it is. */
function moveFocus() {
  const title = find('#dialog-title')
  if (title.textContent === heading) return
  heading = title.textContent
  const first = find('#dialog [data-focus]') ?? title
  first.focus()
}

/** 128 random bits. (crypto.randomUUID is missing if the portal itself does not use https.) */
function newKey() {
  const bytes = [...crypto.getRandomValues(new Uint8Array(16))]
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
