/* Keys in the list: arrows or j and k move, x ticks, Ctrl+A selects, d defers, / searches, Escape clears. */

import { find } from './page.js'
import { boxes, clearSelection, count, selectMore } from './selection.js'

const STEPS = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }

document.addEventListener('keydown', (event) => {
  if (!event.target.closest('#list') || event.altKey) return
  const box = event.target.closest('.pick input')
  if (event.ctrlKey || event.metaKey) pressedWithControl(box, event)
  else if (event.key === 'Escape') clearSelection()
  else if (event.key === '/') moveTo(find('#search'), event)
  else if (event.key === 'd' && count()) moveTo(find('[data-defer]'), event).click()
  else if (box) pressedInBox(box, event)
})

function pressedWithControl(box, event) {
  if (event.key !== 'a' || !box) return
  event.preventDefault()
  selectMore()
}

function pressedInBox(box, event) {
  const step = STEPS[event.key]
  const all = boxes()
  const next = step && all[all.indexOf(box) + step]
  if (next) moveTo(next, event)
  else if (event.key === 'x' && box.id !== 'pick-page') box.click()
}

function moveTo(element, event) {
  event.preventDefault()
  element.focus()
  return element
}
