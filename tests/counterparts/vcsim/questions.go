package main

import (
	"net/http"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	// A VM with this in its extra configuration asks that when it is switched on, and waits for the answer,
	// which is then found under the other.
	questionKey = "counterpart.question"
	answerKey   = "counterpart.answer"
)

// What a VM that was moved or copied asks is known by this, and has these answers.
var uuidChoices = []string{"button.uuid.cancel", "button.uuid.movedTheVM", "button.uuid.copiedTheVM"}

var (
	waiting   = map[types.ManagedObjectReference]*simulator.Task{}
	waitingMu sync.Mutex
)

// converse lets VMs ask, and people answer.
func (f *front) converse(w http.ResponseWriter, method *simulator.Method) bool {
	vm := vmOf(method.This)
	if vm == nil {
		return false
	}
	switch request := method.Body.(type) {
	case *types.PowerOnVM_Task:
		text := optionOf(vm, questionKey)
		if text == "" {
			return false
		}
		answerReference(w, method.Name, ask(vm, method.Name, text))
	case *types.AnswerVM:
		hear(vm, request.AnswerChoice)
		answer(w, http.StatusOK, `<AnswerVMResponse xmlns="urn:vim25"></AnswerVMResponse>`)
	default:
		return false
	}
	return true
}

func ask(vm *simulator.VirtualMachine, method, text string) types.ManagedObjectReference {
	task := simulator.CreateTask(vm, method, func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		simulator.Map.Update(vm, []types.PropertyChange{
			{Name: "runtime.powerState", Val: types.VirtualMachinePowerStatePoweredOn},
		})
		return nil, nil
	})
	choices := types.ChoiceOption{}
	for i, label := range uuidChoices {
		choices.ChoiceInfo = append(choices.ChoiceInfo, &types.ElementDescription{
			Description: types.Description{Label: label, Summary: label}, Key: string(rune('0' + i)),
		})
	}
	waitingMu.Lock()
	waiting[vm.Self] = task
	waitingMu.Unlock()
	simulator.Map.Update(task, []types.PropertyChange{{Name: "info.state", Val: types.TaskInfoStateRunning}})
	simulator.Map.Update(vm, []types.PropertyChange{{Name: "runtime.question", Val: types.VirtualMachineQuestionInfo{
		Id: "question-1", Text: text, Choice: choices,
	}}})
	return task.Self
}

func hear(vm *simulator.VirtualMachine, choice string) {
	waitingMu.Lock()
	task := waiting[vm.Self]
	delete(waiting, vm.Self)
	waitingMu.Unlock()
	simulator.Map.WithLock(vm, func() {
		vm.Runtime.Question = nil
		vm.Config.ExtraConfig = append(vm.Config.ExtraConfig,
			&types.OptionValue{Key: questionKey, Value: ""}, &types.OptionValue{Key: answerKey, Value: choice})
	})
	if task != nil {
		task.Run()
	}
}

// optionOf returns the last value of an entry in a VM's extra configuration.
func optionOf(vm *simulator.VirtualMachine, key string) string {
	found := ""
	for _, option := range vm.Config.ExtraConfig {
		if value := option.GetOptionValue(); value.Key == key {
			found, _ = value.Value.(string)
		}
	}
	return found
}
